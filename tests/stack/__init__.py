"""The whole stack as programs on loopback: fake providers, the gateway, and their ends.

It owns starting and ending them and the resources they serve. It must use nothing that a user doesn't have:
the built programs, YAML, HTTP.
"""
