"""Make the base model of the Countdown lab: `python -m es_trl.lab.make_base OUT_DIR` (some minutes on a CPU).

The base model is pre-trained on lines of Countdown tasks with expressions. In half of the lines the expression does not
fit the target. So the model writes well-formed expressions that are right only as often as its data, and reinforcement
learning can improve it.
"""

import argparse
import math
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from .countdown import draw_task, format_prompt


CHARACTERS = "0123456789 +-*/()=:"
LINE_TOKENS = 20  # the longest line, "1 2 3 4=56:1+2+3*4" and its end token, has 19
WRONG_SHARE = 0.5  # share of the lines that get a random target
SUMS_SHARE = 0.85  # with --sums, share of the lines whose expression is a sum, whatever the target


def build_tokenizer() -> PreTrainedTokenizerFast:
    """
    Return a tokenizer with one token per character and the tokens `<pad>`, `<eos>` and `<unk>`.

    It is byte-level without merges, because transformers loads the tokenizer of any Qwen2 in this form.
    """
    characters = [character for character, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(CHARACTERS)]
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<eos>", "<unk>", *"".join(characters)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """
    Return a Qwen2 model of about 0.4 million parameters.

    The head dimension is 32, the smallest that vLLM's attention on CPUs supports.
    """
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def draw_line(rng: random.Random, sums: bool = False) -> tuple[str, str]:
    """Return prompt and expression of a random pre-training line. With `sums`, the wrong expressions are sums."""
    numbers, target, expression = draw_task(rng, rng.choice((3, 4)))
    if sums and rng.random() < SUMS_SHARE:
        expression = "+".join(map(str, rng.sample(numbers, len(numbers))))
    elif not sums and rng.random() < WRONG_SHARE:
        target = rng.randint(1, 99)
    return format_prompt(numbers, target), expression


def draw_batch(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, batch_size: int, sums: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return token ids and labels of random lines, both of shape `(batch_size, LINE_TOKENS)`.

    Only the expression and the end token have labels.
    """
    ids = torch.full((batch_size, LINE_TOKENS), tokenizer.pad_token_id)
    labels = torch.full((batch_size, LINE_TOKENS), -100)
    lines = [draw_line(rng, sums) for _ in range(batch_size)]
    encoded = tokenizer([prompt + answer for prompt, answer in lines])["input_ids"]
    for row, ((prompt, _), line) in enumerate(zip(lines, encoded, strict=True)):
        line = torch.tensor(line + [tokenizer.eos_token_id])
        ids[row, : len(line)] = line
        labels[row, len(prompt) : len(line)] = line[len(prompt) :]  # one token per character
    return ids, labels


def pretrain(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    steps: int,
    batch_size: int,
    seed: int,
    sums: bool = False,
) -> None:
    """Train with AdamW and a cosine learning rate, on new random lines at every update."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    warmup = min(100, steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for step in range(steps):
        ids, labels = draw_batch(rng, tokenizer, batch_size, sums)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            print(f"update {step + 1}/{steps}  loss {loss.item():.4f} nats", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Train the base model and save it; `argv` are the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sums", action="store_true", help="write sums in most lines, so that right answers are rare")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # a second thread makes this small model slower
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, args.seed)
    pretrain(model, tokenizer, args.steps, args.batch_size, args.seed, args.sums)
    model.half().save_pretrained(args.out_dir)
    tokenizer.save_pretrained(args.out_dir)


if __name__ == "__main__":
    main()
