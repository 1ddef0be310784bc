"""The policy language: PURE, no files, no clock, no Twisted. docs/policy.md says what it means.

Loading: `load` (documents), `validate`, `short_form`. The language: `model`, `keys`, `operators`, `values`. Deciding:
`facts`, `compile`, `evaluate`, `decision`. For people: `explain`, `lint`, `document`.
"""
