"""A viewer who would change something, and one who asks too often: `python refusals.py SERVICE ENDPOINT`."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

service, endpoint = sys.argv[1:3]
client = boto3.client(service, endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))

try:
    client.delete_proxy_rule_group(ProxyRuleGroupName="web")
except ClientError as error:
    denied = error.response["Error"]["Code"]
else:
    raise AssertionError("a viewer changed something")

for _ in range(200):
    try:
        client.list_proxies()
    except client.exceptions.ThrottlingException as error:
        throttled = error.response["Error"]["Code"]
        break
else:
    raise AssertionError("nobody was throttled")

print(json.dumps({"denied": denied, "throttled": throttled}))
