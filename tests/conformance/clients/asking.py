"""Asks without a pause until it is ended: `python asking.py SERVICE ENDPOINT`."""

import sys

import boto3
from botocore.config import Config

service, endpoint = sys.argv[1:3]
client = boto3.client(service, endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))

while True:
    try:
        client.list_proxies()
    except client.exceptions.ThrottlingException:
        pass
