"""What carries HTTP to the ASGI apps: uvicorn with bounds on a laptop, Lambda's Runtime API in AWS."""
