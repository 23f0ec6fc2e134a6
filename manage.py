#!/usr/bin/env python
from taskflow.command_line import main

if __name__ == "__main__":
    main()
