"""An entropy schedule with TRL's `environment_factory`, where the model calls a tool.

Each answer is a call of the tool `check`. The tool returns the value of the answer and asks the question again, so a
task has two tries. The entropy is that of the tokens that the model generated, without the tokens of the tool.

The example shows how the pieces fit together. It shows no gain, because the lab's base model was not trained for a
second try.

Run it (half a minute on a CPU): `python examples/environment.py`
"""

import torch
from transformers import AutoTokenizer

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, is_solution
from es_trl.lab.config import lab_config
from es_trl.lab.countdown import evaluate
from es_trl.tracking.history import summarize


# The lab's model has no chat format. So a message is only its text, and the model's text up to <eos> calls `check`.
CHAT = "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls }}<eos>{% endif %}{% endfor %}"
CALL = {"type": "function", "function": {"name": "check", "arguments": {"answer": "{content}"}}}
FIELD = {"open_pattern": "(?=[^<])", "close": "<eos>", "content": "text", "repeats": True, "transform": CALL}
ANSWER = {"start_anchor": ":", "fields": {"tool_calls": FIELD}, "defaults": {"role": "assistant"}}


class TwoTries:
    """One task, of which TRL creates and resets one object per completion. The method `check` is the model's tool."""

    def reset(self, prompt: list[dict[str, str]], numbers: list[int], target: int, **row: object) -> None:
        self.question, self.numbers, self.target, self.solved = prompt[-1]["content"], numbers, target, False

    def check(self, answer: str) -> str:
        """Check an answer.

        Args:
            answer: An expression over the numbers.
        """
        self.solved = self.solved or is_solution(answer, self.numbers, self.target)
        return f"={evaluate(answer)}:{self.question}"

    def get_reward(self) -> float:
        return 1.0 if self.solved else -1.0


def make_trainer(output_dir: str, rollouts: int, **changes: object) -> ESGRPOTrainer:
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    tokenizer.chat_template = CHAT
    tokenizer.response_template = ANSWER
    data = countdown_dataset(2000, seed=1).map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    args = lab_config(
        output_dir,
        rollouts,
        per_device_train_batch_size=16,
        max_completion_length=32,  # room for two tries and for the tool's answer to the first
        max_tool_calling_iterations=2,
        entropy_schedule={"kind": "constant", "target": 0.4},
        **changes,
    )
    return ESGRPOTrainer(
        BASE_MODEL, None, args, train_dataset=data, processing_class=tokenizer, environment_factory=TwoTries
    )


def main() -> None:
    torch.set_num_threads(1)
    trainer = make_trainer("runs/environment", rollouts=12)
    trainer.train()
    records = trainer.history.records
    print(summarize(records, settling=5))
    print(f"tokens the model wrote           {records[-1]['completion_tokens']:.1f} per completion")
    print(f"calls of the tool                {trainer.state.log_history[0]['tools/call_frequency']:.2f} per completion")


if __name__ == "__main__":
    main()
