"""
Publishing a run on the Hub.

- `repository.py`: the repository, opened or refused before the model loads. A new default that keeps a run private is
  a field that `prepare_push` returns.
- `push.py`: the uploads of a run, and what became of them.
- `card.py`: the model card. A new section is a function that `complete_card` calls.
- `secrets.py`: access tokens, kept out of everything that is written.
"""
