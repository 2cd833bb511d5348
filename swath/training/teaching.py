"""Learning from a teacher: a trained model's answers stand in for part of the truth.

Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network" (2015), at temperature 1. As truth and prediction
are of one type, the teacher's answer is simply mixed into the labels of the batch, after augmentation, CutMix and
mixup, so that it answers for the very pixels that the student sees (Beyer et al. 2021, "a consistent teacher").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from swath.errors import ConfigurationError
from swath.samples.labels import Label

if TYPE_CHECKING:
    from swath.models.base import Model
    from swath.models.inputs import InputSpec
    from swath.models.store import StoredModel
    from swath.samples.annotation import Annotation
    from swath.samples.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """A teacher and the share (0 to 1) of each label that is its answer; the rest stays the truth.

    Raises `ConfigurationError` when the teacher tells other classes than the student or takes other input, for both
    see one batch.
    """

    teacher: StoredModel
    share: float

    @classmethod
    def of(cls, teacher: StoredModel, student: Model, share: float) -> Teaching:
        """Check that the two fit each other, and move the teacher to where the student is."""
        if teacher.model.classes != student.classes:
            raise ConfigurationError(
                f"the teacher '{teacher.name}' tells other classes ({', '.join(teacher.model.classes)}) than the model "
                f"({', '.join(student.classes)}); give one trained on the same classes, in order."
            )
        for slot, spec in student.inputs.items():
            other = teacher.model.inputs.get(slot)
            if other is None or _normalisation(other) != _normalisation(spec):
                raise ConfigurationError(
                    f"the teacher '{teacher.name}' does not take the model's input in slot '{slot}' (bands, unit, mean "
                    "and standard deviation must be equal); build both with one InputSpec."
                )
        teacher.model.to(device=student.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return cls(teacher=teacher, share=share)

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the teacher's answers mixed into its labels.

        The teacher works in bfloat16 where that is quick: it is not learning, and its opinion is none to three digits.
        """
        quick = batch.device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        low = torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=quick)
        with torch.inference_mode(), low:
            answers = self.teacher.model.predict(batch)
        pairs = zip(batch.targets or (), answers, strict=True)
        return replace(batch, targets=tuple(self._taught(truth, answer) for truth, answer in pairs))

    def _taught(self, truth: Annotation, answer: Annotation) -> Annotation:
        if not isinstance(truth, Label) or not isinstance(answer, Label):
            raise ConfigurationError(
                f"recipe: 'teacher_share' mixes labels of whole images; found {type(truth).__name__}; set it to 0."
            )
        scores = (1 - self.share) * truth.scores + self.share * answer.scores
        return replace(truth, scores=scores.astype(np.float32))


def _normalisation(spec: InputSpec) -> tuple[object, ...]:
    return spec.bands, spec.unit, spec.mean, spec.std
