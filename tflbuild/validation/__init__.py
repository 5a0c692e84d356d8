"""What the stages that run models on test data share."""
