"""Makes the queues, each with its dead-letter queue, when LocalStack is ready.

LocalStack runs this file itself, inside its own process.
"""

import json

import boto3

VISIBILITY_SECONDS = 10
MAX_RECEIVES = 5
FOUR_DAYS = 4 * 24 * 3600
FOURTEEN_DAYS = 14 * 24 * 3600

sqs = boto3.client(
    "sqs",
    endpoint_url="http://127.0.0.1:4566",
    region_name="eu-central-1",
    aws_access_key_id="boxoffice",
    aws_secret_access_key="boxoffice",
)


def queue_with_dead_letters(name: str, fifo: bool) -> None:
    """Makes `name` and `name-dead-letters`, joined by a redrive policy."""
    suffix = ".fifo" if fifo else ""
    kind = {"FifoQueue": "true", "ContentBasedDeduplication": "false"} if fifo else {}
    dead_letters = sqs.create_queue(
        QueueName=f"{name}-dead-letters{suffix}",
        Attributes={**kind, "MessageRetentionPeriod": str(FOURTEEN_DAYS)},
    )["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])
    policy = {
        "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVES,
    }
    sqs.create_queue(
        QueueName=f"{name}{suffix}",
        Attributes={
            **kind,
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
            "MessageRetentionPeriod": str(FOUR_DAYS),
            "RedrivePolicy": json.dumps(policy),
        },
    )


queue_with_dead_letters("payments", fifo=True)
queue_with_dead_letters("tickets", fifo=False)
