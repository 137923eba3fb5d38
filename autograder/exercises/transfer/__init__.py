"""The exercises on transfer: what each asks, accepts, refuses and diagnoses. They stand in homework order."""

from autograder.exercises.transfer import distilling, freezing, lowrank, pacing

freeze_all_but = freezing.freeze_all_but
parameter_groups = pacing.parameter_groups
thaw = freezing.thaw
lora_linear = lowrank.lora_linear
merge = lowrank.merge
distillation_loss = distilling.distillation_loss
