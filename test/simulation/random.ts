// All chance of a simulation: one seed, one sequence (mulberry32). Streams keep what is drawn for the schedule apart from
// what is drawn for the world, so that a schedule with events taken out still meets the same world.

export interface Random {
  /** From 0 to 1, 1 excluded. */
  next(): number;
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

export function createRandom(seed: number, stream: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick<T>(choices: readonly T[]): T {
      const [first, ...others] = choices;
      if (first === undefined) throw new TypeError('nothing to pick from');
      return [first, ...others][below(choices.length)] ?? first;
    },
  };
}
