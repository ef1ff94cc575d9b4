"""Takes a minute to import, as PyTorch takes seconds."""

import time

time.sleep(60)
