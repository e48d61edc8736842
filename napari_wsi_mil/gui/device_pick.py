"""The device a run uses, and why; a choice where there is more than the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import wrapped

if TYPE_CHECKING:
    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.ticks import Tick


class Device(NamedTuple):
    """A device that can be asked for."""

    name: str
    """What `pick_device` takes."""
    label: str
    reason: str


def find_devices() -> list[Device]:
    """Return what "auto" comes to, then each device by name; imports torch."""
    from napari_wsi_mil.models.device import device_names, pick_device

    found = [(name, pick_device(name)) for name in device_names()]
    return [Device(name, choice.label, choice.reason) for name, choice in found]


class DevicePick(QWidget):
    """`choice` is what to ask `pick_device` for."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[Device] = []
        self.combo, self.text = QComboBox(), wrapped("Looking for a graphics card …", muted=True)
        self.combo.setAccessibleName("Device")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.combo.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.combo)
        layout.addWidget(self.text)
        self.combo.currentIndexChanged.connect(self._describe)
        # torch takes a second to import: the panel is shown first
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._ask)
        self._timer.start(0)

    @property
    def choice(self) -> str:
        """The name of the device to use."""
        index = self.combo.currentIndex()
        return self.devices[index].name if 0 <= index < len(self.devices) else "auto"

    def _ask(self) -> None:
        find = find_devices

        def work(tick: Tick, say: Say) -> list[Device]:
            return find()

        self._job = Job(work)
        self._job.succeeded.connect(self.show_devices)
        self._job.failed.connect(self.text.setText)
        self._job.start()

    def show_devices(self, devices: list[Device]) -> None:
        """Offer these devices, the automatic choice first."""
        self.devices = devices
        self.combo.clear()
        self.combo.addItems([f"Automatic: {d.label}" if d.name == "auto" else d.label for d in devices])
        self.combo.setVisible(len(devices) > 2)
        self._describe()

    def _describe(self, _: int = 0) -> None:
        index = self.combo.currentIndex()
        if 0 <= index < len(self.devices):
            device = self.devices[index]
            self.text.setText(f"Runs on {device.label}: {device.reason.split(';')[0]}.")
            self.text.setToolTip(f"{device.reason[:1].upper()}{device.reason[1:]}.")
