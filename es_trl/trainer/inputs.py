"""What a trainer is given beside its configuration, looked at together before the model's weights load."""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset, IterableDataset
from trl import GRPOConfig
from trl.data_utils import is_conversational
from trl.import_utils import is_vllm_available

from ..checkpoints.run_folder import enter_run_folder
from ..common.nearest import nearest
from ..config.field_checks import check_optimizer, check_trackers
from ..control.base import Actuator, ActuatorArgs
from ..control.checks import checked_settings
from .model_folder import check_model
from .reward_functions import check_rewards


def check_inputs(
    model: Any,
    reward_funcs: Any,
    args: GRPOConfig,
    datasets: tuple[Any, Any],
    kwargs: dict[str, Any],
) -> None:
    """
    Raise unless TRL can build its trainer from what was given, and the run can be written.

    Args:
        model, reward_funcs, args, kwargs:
            As in `GRPOTrainer`; `output_dir` is made absolute.
        datasets (`tuple`):
            Train and eval data sets.

    Raises:
        ValueError: for the first thing that is wrong.
    """
    environment = kwargs.get("environment_factory")
    if args.use_vllm and not is_vllm_available():
        raise ValueError("`use_vllm` is true, and vLLM is not installed: install it, or set use_vllm: false")
    _check_datasets(*datasets, environment is not None, args)
    check_rewards(reward_funcs, environment is not None, args)
    check_trackers(args)
    if not any(kwargs.get("optimizers") or ()):
        check_optimizer(args)
    given = (*datasets, *(datasets[1].values() if isinstance(datasets[1], dict) else ()))
    has_chats = any(isinstance(dataset, Dataset) and _has_chats(dataset) for dataset in given)
    check_model(model, kwargs.get("processing_class"), has_chats, args)
    enter_run_folder(args)


def check_settings(actuators: Iterable[Actuator], trainer: Any, args: ActuatorArgs) -> None:
    """
    Raise unless actuators move attributes that the trainer has, or read their settings themselves.

    Raises:
        ValueError: for a name that the trainer does not have, and as [`checked_settings`].
    """
    for actuator in actuators:
        if isinstance(actuator, Actuator) and actuator.reads_settings:
            continue
        for control in (actuator.initial(args), actuator.low, actuator.high):
            for setting in checked_settings(actuator, control, args):
                if not hasattr(trainer, setting):
                    raise ValueError(
                        f"{type(actuator).__name__}.settings must name attributes of {type(trainer).__name__}, got "
                        f"{setting!r}{nearest(str(setting), vars(trainer))}: change the name"
                    )


def _check_datasets(train: Any, evaluation: Any, has_environment: bool, args: GRPOConfig) -> None:
    if train is None and not has_environment:
        raise ValueError("`train_dataset` is required, got None: give a data set with a column `prompt`")
    if train is not None and not isinstance(train, Dataset | IterableDataset):
        raise ValueError(
            f"`train_dataset` must be a `Dataset` or `IterableDataset`, got `{type(train).__name__}`: give for example "
            "Dataset.from_list(...)"
        )
    dispatches = args.accelerator_config.dispatch_batches  # which TRL refuses
    if isinstance(train, IterableDataset) and args.max_steps <= 0 and not dispatches:
        raise ValueError(
            f"`max_steps` must be above 0 where `train_dataset` is a stream, whose length is not known, got "
            f"{args.max_steps}: set it"
        )
    if args.eval_strategy != "no" and evaluation is None:
        raise ValueError(
            f"`eval_strategy` is {str(getattr(args.eval_strategy, 'value', args.eval_strategy))!r}, and there is no "
            "`eval_dataset`: give one, or set eval_strategy: no"
        )


def _has_chats(dataset: Dataset) -> bool:
    return len(dataset) > 0 and "prompt" in dataset.column_names and is_conversational({"prompt": dataset[0]["prompt"]})
