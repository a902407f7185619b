"""flow.py ENDPOINT IN OUT DEAD: sends the messages of standard input, JSON lines with group, row and body, into the FIFO queue IN, as
any program with boto3 does; takes as many out of OUT and DEAD together, and prints them as JSON lines, in order."""

import json
import sys
import time

import boto3

endpoint, source, target, dead = sys.argv[1:]
sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="serval", aws_secret_access_key="serval")
url = {name: sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (source, target, dead)}

rows = [json.loads(line) for line in sys.stdin]
for i in range(0, len(rows), 10):
    answer = sqs.send_message_batch(
        QueueUrl=url[source],
        Entries=[
            {
                "Id": str(j),
                "MessageBody": row["body"],
                "MessageGroupId": row["group"],
                "MessageDeduplicationId": str(i + j),
                "MessageAttributes": {"row": {"DataType": "Number", "StringValue": str(row["row"])}, "tag": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
            }
            for j, row in enumerate(rows[i : i + 10])
        ],
    )
    assert "Failed" not in answer, answer

left, end = len(rows), time.time() + 120
while left > 0:
    assert time.time() < end, f"{left} of {len(rows)} messages do not come"
    for name in (target, dead):
        got = sqs.receive_message(
            QueueUrl=url[name], MaxNumberOfMessages=10, WaitTimeSeconds=0, VisibilityTimeout=60, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
        ).get("Messages", [])
        for m in got:
            print(
                json.dumps(
                    {
                        "queue": name,
                        "body": m["Body"],
                        "group": m["Attributes"].get("MessageGroupId", ""),
                        "attributes": {k: v.get("StringValue", v.get("BinaryValue", b"").hex()) for k, v in m.get("MessageAttributes", {}).items()},
                    }
                )
            )
        left -= len(got)
        if got:
            answer = sqs.delete_message_batch(QueueUrl=url[name], Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)])
            assert "Failed" not in answer, answer
