# sin squared of half the remaining angle equals (1+cos)/2; the linear part and the end come first.
import math


def warmup_cosine(step, warmup_steps, total_steps):
    if warmup_steps > 0 and step <= warmup_steps:
        return step / warmup_steps
    if step >= total_steps:
        return 0.0
    left = (total_steps - step) / (total_steps - warmup_steps)      # 1 at the peak, 0 at the end
    return math.sin(0.5 * math.pi * left) ** 2
