"""What every room needs and no library has: settings models, files that are whole, errors in a sentence, weights."""
