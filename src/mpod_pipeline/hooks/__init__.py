"""What happens round a run: its checks before any work, the lock and the books of a batch, MLflow."""
