"""Many studies on several processes: results in order, memory bounded, and a process that dies costs one study."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 3  # items under way per worker


def ordered_results(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result | None]:
    """`function` of every item, in order; None for an item whose process died with nothing else beside it.

    One worker: in this process. More: in spawned ones, at most three items per worker under way at a time.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting, under_way = deque(items), deque[tuple[Item, Future[Result]]]()
    pool = _pool(workers)
    try:
        while waiting or under_way:
            try:
                while waiting and len(under_way) < _AHEAD * workers:
                    under_way.append((waiting[0], pool.submit(function, waiting[0])))
                    waiting.popleft()
                result: Result | None = under_way[0][1].result()
                under_way.popleft()
            except BrokenProcessPool:
                pool.shutdown(wait=True, cancel_futures=True)
                waiting.extendleft(item for item, _ in reversed(under_way))
                under_way.clear()
                result = _alone(function, waiting.popleft())
                pool = _pool(workers)
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | None:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return None


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_one_thread)


def _one_thread() -> None:
    cv2.setNumThreads(1)
    threadpool_limits(1)
