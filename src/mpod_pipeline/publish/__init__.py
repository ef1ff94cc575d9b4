"""What shops take, made of the exported models.

Each target (`web`, `shopify`, `google`, `amazon`, `ar_ios`, `banner`) has a step in `steps` that makes its file:
`variants` keeps it within the target's limits, `usdz` is for iPhones, and `checks` is the gate that the file has to
pass. `feeds` tell shops where files are. `site` is the page on which people look at models, `decisions` is what they
say, and `doubt` guesses which models they would reject. Nothing here knows Kedro.
"""
