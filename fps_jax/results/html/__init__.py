"""One page about any studies, without scripts; `page` puts it together."""
