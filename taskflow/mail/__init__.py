"""Sending e-mail: the setting TASKFLOW_EMAIL_URL, links in mails, and the thread that sends."""
