"""The files of docs/deploy/, tried as far as this machine allows: `make prove-deploy`."""
