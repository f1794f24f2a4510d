// The promises of the agent, judged from outside: by what the API server has told it, what it does to the disk, and what is
// really in the bundle and in the runtime. Safety is judged at each change and each status, promise by promise in promises/;
// convergence in convergence.ts. The first broken promise is kept; nothing is thrown into the agent.

import type { BootEnd } from './boot-script.ts';
import { nameOf } from './certificates.ts';
import { createAdditions } from './promises/additions.ts';
import { createChanges, type JudgeChange } from './promises/changes.ts';
import type { Broken, Court, Suspect } from './promises/court.ts';
import { createProof } from './promises/proof.ts';
import { createRepairs } from './promises/repairs.ts';
import { createRestarts } from './promises/restarts.ts';
import { createWanted, type Wanted } from './promises/wanted.ts';
import type { RuntimeProcess } from './service.ts';
import { bundledPrints, ownAnchors, type Prints, standingPrints } from './store-views.ts';

export interface Promises extends Pick<Wanted, 'served' | 'fileServed'> {
  readonly broken: Broken | undefined;
  nodeServed(suspect: Suspect, isEnabled: boolean | undefined): void;
  /** An event about the Node. */
  recorded(suspect: Suspect, reason: string, message: string): void;
  /** A request of an agent was not answered. */
  unanswered(suspect: Suspect): void;
  /** What the host is to trust, and has ever been told to. */
  readonly wanted: Pick<Wanted, 'desired' | 'ofFile' | 'everGood'>;
  /** Whether what a process is noted to have loaded is in the bundle. */
  isWhole(): boolean;
  readonly exempt: ReadonlySet<string>;
  breaks(promise: string, seen: string): void;
  readonly changing: JudgeChange;
  moment(): number;
  /** The agent has put a new bundle in the place of one with these; its run of the tool began at this moment. */
  rebuilt(suspect: Suspect, startedAt: number, before: Prints): void;
  /** A run of the tool has failed, or nothing can be noted on a full disk. */
  toolFailed(): void;
  restarting(suspect: Suspect): void;
  patched(suspect: Suspect, annotations: Readonly<Record<string, string | null>>): void;
  /** Somebody other than the agent has changed the runtime. */
  disturbed(): void;
  /** Or the store, or the agent's own memory. */
  meddled(): void;
  /** Another process of the runtime, or none. */
  runtimeStarts(process: RuntimeProcess | undefined): void;
  /** It says that it is ready. */
  runtimeServes(): void;
  clockIsSet(byMs: number): void;
  bootRan(end: BootEnd): void;
  booted(): void;
  /** The agent has lost its records, or a part of them, by no fault of its own. */
  forget(): void;
}

export interface PromisesOptions extends Pick<Court, 'disk' | 'clock' | 'runtime'> {
  readonly spreadMs: number;
  onBroken(broken: Broken): void;
}

export function createPromises({ disk, clock, runtime, spreadMs, onBroken }: PromisesOptions): Promises {
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
    meddledAt: 0,
    clockSetAt: 0,
    exempt: new Set(),
  };
  const wanted = createWanted(court, () => {
    restarts.isCaused();
    proof.wantedChanges();
  });
  const proof = createProof(court, wanted);
  const restarts = createRestarts(court, wanted, proof);
  const additions = createAdditions(court, wanted);
  const repairs = createRepairs(court, wanted, proof);
  const changing = createChanges({ court, wanted, proof, restarts, additions, repairs, onForgotten: forgetTrust });

  /** When the runtime was restarted last outlives what is trusted. */
  function forgetTrust(): void {
    for (const judge of [proof, additions, repairs]) judge.forget();
    // Withdrawn, or taken away by a rollback: nothing says any more that it is not somebody else's.
    const anchors = ownAnchors(disk);
    for (const print of wanted.everGood) if (!wanted.desired.has(print) || !anchors.has(print)) court.exempt.add(print);
  }

  function disturbed(): void {
    court.disturbedAt = court.moment();
    for (const print of standingPrints(disk)) court.exempt.add(print);
    proof.ends();
    repairs.excuse();
  }

  return {
    get broken() {
      return broken;
    },
    wanted,
    served: wanted.served,
    fileServed: wanted.fileServed,
    nodeServed(suspect, isEnabled) {
      suspect.beganAt = court.moment();
      suspect.readsSinceUnanswered += 1;
      repairs.passBegins(suspect);
      wanted.nodeServed(suspect, isEnabled);
    },
    recorded: repairs.recorded,
    unanswered(suspect) {
      suspect.readsSinceUnanswered = 0;
      repairs.excuse();
    },
    isWhole: proof.isWhole,
    exempt: court.exempt,
    breaks: court.breaks,
    changing,
    moment: court.moment,
    rebuilt(suspect, startedAt, before) {
      const [after, standing] = [bundledPrints(disk), standingPrints(disk)];
      proof.rebuilt(after, startedAt);
      repairs.rebuilt(suspect, before, after);
      if (startedAt < court.disturbedAt) return;
      for (const print of before) {
        if (standing.has(print) && !after.has(print))
          court.breaks("others' trust stays", `${nameOf(print)} left the bundle`);
      }
    },
    toolFailed() {
      restarts.isRetried();
      repairs.excuse();
    },
    restarting(suspect) {
      restarts.restarting(suspect);
      repairs.excuse();
    },
    runtimeStarts(process) {
      if (process !== undefined) restarts.started(process.invocationId);
    },
    runtimeServes: additions.runtimeServes,
    clockIsSet(byMs) {
      court.clockSetAt = court.moment();
      repairs.clockIsSet();
      restarts.clockIsSet(byMs);
    },
    bootRan({ hasRecord, ...end }) {
      wanted.bootRan(end);
      if (hasRecord) restarts.bootNoted();
    },
    patched(suspect, annotations) {
      const [state = '', reason = '', message = ''] = ['state', 'reason', 'message'].map(
        (name) => annotations[`node-trust-agent/${name}`] ?? '',
      );
      if (state === 'Failed') {
        // Perhaps it could not keep in mind what it was told.
        additions.failed(suspect, reason);
        return repairs.failed(suspect, reason, message);
      }
      wanted.acts(suspect);
      if (state === 'Disabled') wanted.saysLeft();
      if (reason === 'RestartDeferred') restarts.deferred(suspect, message, spreadMs);
      const named = state === 'Synced' ? proof.synced(suspect, annotations) : undefined;
      if (named !== undefined) additions.synced(named);
    },
    disturbed,
    meddled() {
      disturbed();
      court.meddledAt = court.disturbedAt;
    },
    forget() {
      forgetTrust();
      restarts.forget();
    },
    booted() {
      court.meddledAt = court.moment();
      restarts.isCaused();
      restarts.bootForgotten();
      restarts.noted();
      wanted.powerFailed();
      proof.booted();
    },
  };
}
