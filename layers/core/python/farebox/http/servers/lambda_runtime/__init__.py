"""An ASGI app as a Lambda function that streams: the documented Runtime API, spoken by ourselves.

Python's own runtime cannot stream an answer, and adapters cost a second process and a hop.
"""
