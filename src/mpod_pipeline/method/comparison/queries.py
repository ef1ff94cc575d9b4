"""How often a method asks its priors: what its work is, whatever machine does it."""

from __future__ import annotations

from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.outline import OutlineParameters


def prior_queries(outline: OutlineParameters, detail: DetailParameters) -> int:
    """Guided predictions of one picture that both stages ask for a product, in the mean where views are drawn by
    chance. The views from above count too, by which cavities are found; those from the side, of vessels alone, do not.
    """
    views = outline.steps * outline.novel_share * outline.novel_views
    asked = views * (outline.sds.weight > 0)
    if outline.text:
        asked += views * (1 - outline.text.after)
    if outline.cavities:
        asked += outline.cavities.views * outline.cavities.steps
    if detail.second_stage != "none":
        views = detail.steps * detail.novel_share * detail.novel_views
        asked += views * ((detail.sds.weight > 0) + (detail.novel_view is not None))
        if detail.inpainting.wanted:
            renewals = -(-detail.steps // detail.inpainting.every)
            asked += renewals * detail.inpainting.views * detail.inpainting.steps
    return round(asked)
