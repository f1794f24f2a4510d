// The promises of the agent, judged from outside: by what the API server has told it, what it does to the disk, and what is
// really in the bundle and in the runtime. Safety is judged at each change and each status, promise by promise in promises/;
// convergence in convergence.ts. The first broken promise is kept; nothing is thrown into the agent.

import { nameOf } from './certificates.ts';
import { createChanges, type JudgeChange } from './promises/changes.ts';
import type { Broken, Court, Suspect } from './promises/court.ts';
import { createProof } from './promises/proof.ts';
import { createRestarts } from './promises/restarts.ts';
import { createWanted, type Wanted } from './promises/wanted.ts';
import { bundledPrints, type Prints, standingPrints } from './store-views.ts';

export interface Promises extends Pick<Wanted, 'served' | 'fileServed' | 'nodeServed'> {
  readonly broken: Broken | undefined;
  /** What the host is to trust, and has ever been told to. */
  readonly wanted: Pick<Wanted, 'desired' | 'ofFile' | 'everGood'>;
  /** Whether what was proven is in the bundle. */
  isWhole(): boolean;
  readonly exempt: ReadonlySet<string>;
  breaks(promise: string, seen: string): void;
  readonly changing: JudgeChange;
  moment(): number;
  /** The agent has put a new bundle in the place of one with these; its run of the tool began at this moment. */
  rebuilt(startedAt: number, before: Prints): void;
  /** A run of the tool has failed, or nothing can be noted on a full disk. */
  toolFailed(): void;
  restarting(suspect: Suspect): void;
  patched(suspect: Suspect, annotations: Readonly<Record<string, string | null>>): void;
  /** Somebody other than the agent has changed the store, the runtime, or the agent's own memory. */
  disturbed(): void;
  booted(): void;
  /** The agent has lost, by no fault of its own, what it knew of certificates that were taken away. */
  forgetWithdrawn(): void;
}

export interface PromisesOptions extends Pick<Court, 'disk' | 'clock' | 'runtime'> {
  onBroken(broken: Broken): void;
}

export function createPromises({ disk, clock, runtime, onBroken }: PromisesOptions): Promises {
  let broken: Broken | undefined;
  let moments = 0;
  const court: Court = {
    disk,
    clock,
    runtime,
    breaks(promise, seen) {
      if (broken !== undefined) return;
      broken = { promise, seen };
      onBroken(broken);
    },
    moment: () => (moments += 1),
    disturbedAt: 0,
    exempt: new Set(),
  };
  const wanted = createWanted(court, () => {
    restarts.isCaused();
    proof.ends();
  });
  const proof = createProof(court, wanted);
  const restarts = createRestarts(court, wanted, proof);
  const changing = createChanges({ court, wanted, proof, restarts, onForgotten: forgetWithdrawn });

  function forgetWithdrawn(): void {
    proof.forget();
    for (const print of wanted.everGood) if (!wanted.desired.has(print)) court.exempt.add(print);
  }

  return {
    get broken() {
      return broken;
    },
    wanted,
    served: wanted.served,
    fileServed: wanted.fileServed,
    nodeServed: wanted.nodeServed,
    isWhole() {
      const bundle = bundledPrints(disk);
      return [...(proof.last?.named ?? [])].every((print) => !proof.isKept(print) || bundle.has(print));
    },
    exempt: court.exempt,
    breaks: court.breaks,
    changing,
    moment: court.moment,
    rebuilt(startedAt, before) {
      if (startedAt < court.disturbedAt) return;
      proof.rebuilt();
      const [after, standing] = [bundledPrints(disk), standingPrints(disk)];
      for (const print of before) {
        if (standing.has(print) && !after.has(print))
          court.breaks("others' trust stays", `${nameOf(print)} left the bundle`);
      }
    },
    toolFailed: restarts.isRetried,
    restarting: restarts.restarting,
    patched(suspect, annotations) {
      const state = annotations['node-trust-agent/state'];
      if (state === 'Failed') return; // perhaps it could not keep in mind what it was told
      wanted.acts(suspect);
      if (state === 'Disabled') wanted.saysLeft();
      if (state === 'Synced') proof.synced(suspect, annotations);
    },
    disturbed() {
      court.disturbedAt = court.moment();
      for (const print of standingPrints(disk)) court.exempt.add(print);
      proof.ends();
    },
    forgetWithdrawn,
    booted() {
      restarts.isCaused();
      wanted.powerFailed();
      proof.booted();
    },
  };
}
