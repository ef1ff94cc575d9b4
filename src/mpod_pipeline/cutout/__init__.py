"""From a photo's file to its product, cut out: `photos` decodes, `foreground` finds, `matting` cuts along the edge."""
