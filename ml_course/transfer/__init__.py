r"""Transfer learning: features, fine-tuning in part and in whole, LoRA, adapters, distillation, forgetting."""

from ml_course.transfer.adapters import Adapter, add_adapters
from ml_course.transfer.distillation import (
    bert_flops,
    bert_parameters,
    distillation_loss,
    soft_targets,
    student_config,
)
from ml_course.transfer.forgetting import Anchor, average_accuracy, backward_transfer, forgetting, moved
from ml_course.transfer.freezing import Frozen, GradualUnfreezing, blocks_of, freeze, remembered, trainable
from ml_course.transfer.lora import (
    LoraLinear,
    add_lora,
    load_lora,
    lora_layers,
    lora_parameters,
    merge_lora,
    save_lora,
    set_strength,
)
from ml_course.transfer.memory import TrainingMemory, held_bytes, training_memory
from ml_course.transfer.methods import RECIPES, Recipe, accuracy, features_of, frozen_head, prepare, teach
from ml_course.transfer.pacing import DISCRIMINATIVE, Paced, parameter_groups, slanted_triangle, warm_then_linear
from ml_course.transfer.topics import TOPICS, few, paragraphs, topic_sentences

__all__ = [
    "DISCRIMINATIVE",
    "RECIPES",
    "TOPICS",
    "Adapter",
    "Anchor",
    "Frozen",
    "GradualUnfreezing",
    "LoraLinear",
    "Paced",
    "Recipe",
    "TrainingMemory",
    "accuracy",
    "add_adapters",
    "add_lora",
    "average_accuracy",
    "backward_transfer",
    "bert_flops",
    "bert_parameters",
    "blocks_of",
    "distillation_loss",
    "features_of",
    "few",
    "forgetting",
    "freeze",
    "frozen_head",
    "held_bytes",
    "load_lora",
    "lora_layers",
    "lora_parameters",
    "merge_lora",
    "moved",
    "paragraphs",
    "parameter_groups",
    "prepare",
    "remembered",
    "save_lora",
    "set_strength",
    "slanted_triangle",
    "soft_targets",
    "student_config",
    "teach",
    "topic_sentences",
    "trainable",
    "training_memory",
    "warm_then_linear",
]
