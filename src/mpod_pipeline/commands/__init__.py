"""What the project's commands are made of, beside Kedro's own."""
