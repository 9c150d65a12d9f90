// block/blk-mq-cpumap.c: which hardware queue each CPU uses.
//
//   cpu < nr_queues                          its own: cpu mod nr_queues
//   otherwise, first SMT sibling = itself    cpu mod nr_queues
//   otherwise                                the queue of its first sibling
//
// Later kernels spread the present CPUs first and give another map. Possible CPUs are 0 .. n - 1 here; CPU hotplug is
// not modelled.

/**
 * Fills `map[cpu]` with a hardware queue number for each CPU, in ascending order.
 * @param siblings for each CPU the lowest CPU of its core; absent = no SMT
 */
export function blk_mq_map_queues(
  map: Uint32Array,
  nr_queues: number,
  siblings?: readonly number[],
): void {
  for (let cpu = 0; cpu < map.length; cpu++) {
    const first_sibling = siblings?.[cpu] ?? cpu
    const follow = cpu >= nr_queues && first_sibling !== cpu
    map[cpu] = follow ? map[first_sibling]! : cpu % nr_queues
  }
}
