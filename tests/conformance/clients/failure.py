"""A call that fails by the server's fault: `python failure.py SERVICE ENDPOINT`."""

import json
import sys

import boto3
from botocore.config import Config

service, endpoint = sys.argv[1:3]
client = boto3.client(service, endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))

try:
    client.list_proxies()
except client.exceptions.InternalServerError as error:
    failed = error.response
else:
    raise AssertionError("it did not fail")

print(json.dumps({"failed": failed["Error"]["Code"], "status": failed["ResponseMetadata"]["HTTPStatusCode"]}))
