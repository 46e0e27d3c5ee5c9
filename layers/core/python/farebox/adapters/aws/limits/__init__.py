"""Rate limits in DynamoDB."""
