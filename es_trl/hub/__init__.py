"""
Pushes of a run to the Hub.

- `repository.py`: the repository of a run, which is created and checked before the model loads. To add a default that
  keeps a run private, let `prepare_push` return the field.
- `push.py`: the uploads of a run, and the log of those that fail.
- `card.py`: the model card. To add a section, add a function and call it in `complete_card`.
- `secrets.py`: removal of access tokens from everything that is written.
"""
