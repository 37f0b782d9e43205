from enum import IntEnum


class PoolViewFargateCpu(IntEnum):
    VALUE_256 = 256
    VALUE_512 = 512
    VALUE_1024 = 1024
    VALUE_2048 = 2048
    VALUE_4096 = 4096
    VALUE_8192 = 8192
    VALUE_16384 = 16384

    def __str__(self) -> str:
        return str(self.value)
