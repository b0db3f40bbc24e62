"""How events travel: prepare, batch, limit, send, judge, settle. No platform is known here."""
