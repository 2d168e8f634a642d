"""python -m tests.train.tiny_command ...: `python -m train ...` with the tiny network registered.

With LOGICAL_CPUS=2 TensorFlow sees two devices. With SIGNAL="SIGKILL History.on_epoch_end 2" the process sends itself
that signal after the second call of that method of train/fit.
"""

import itertools
import os
import signal
import sys

from tests.train.conftest import light_augmentation, tiny_backbone
from train.__main__ import main
from train.fit import augmentation, network


def divide_cpu(devices: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)


def signal_after(number: signal.Signals, method: str, call: int) -> None:
    from train.fit import callbacks, stages, validation

    # a process started in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    owner, name = method.split(".")
    module = next(module for module in (callbacks, stages, validation) if hasattr(module, owner))
    work = getattr(getattr(module, owner), name)
    calls = itertools.count(1)

    def signalling(*arguments: object, **options: object) -> object:
        result = work(*arguments, **options)
        if next(calls) == call:
            signal.raise_signal(number)
        return result

    setattr(getattr(module, owner), name, signalling)


if __name__ == "__main__":
    network.ARCHITECTURES["tiny"] = tiny_backbone
    augmentation.POLICIES["standard"] = light_augmentation
    if "LOGICAL_CPUS" in os.environ:
        divide_cpu(int(os.environ["LOGICAL_CPUS"]))
    if "SIGNAL" in os.environ:
        number, method, call = os.environ["SIGNAL"].split()
        signal_after(signal.Signals[number], method, int(call))
    sys.exit(main())
