"""What shops take, made of the exported models: each target's files, checks, feeds, and a page to approve them on."""
