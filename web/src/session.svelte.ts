// Who uses this page, and whether they may give orders.
//
// Where other machines reach the page, people sign in, and the browser sends a cookie that no script
// can read. On loopback nobody signs in: every program on the machine can open the page. Who wants
// to order something there gives a token. It stays in this variable until the page is closed: a
// cookie would also go to every other server on the machine, whatever its port.

import { ApiError } from "./api.ts";
import { fetchSession, giveOrder, type Order } from "./operating.ts";
import type { Sealed } from "./api.ts";

class Session {
  /** Name of the token with which this browser signed in; null where nobody has to. */
  signed_in = $state<string | null>(null);
  #signed_in_operates = $state(false);
  #answered = $state(false);
  #own = $state.raw<{ name: string; token: string } | null>(null);

  async look(): Promise<void> {
    const { name, operates } = await fetchSession();
    [this.signed_in, this.#signed_in_operates, this.#answered] = [name, operates, true];
  }

  /** In whose name orders are given; null if nobody here may give any. */
  get operator(): string | null {
    return this.#own?.name ?? (this.#signed_in_operates ? this.signed_in : null);
  }

  /** Whether a person may give a token: nobody signs in here, and there is none yet. */
  get asks(): boolean {
    return this.#answered && this.signed_in === null && this.#own === null;
  }

  /** Whether there is a token that can be forgotten. */
  get has_token(): boolean {
    return this.#own !== null;
  }

  /** Takes a token that may order. */
  async use(token: string): Promise<void> {
    const { name, operates } = await fetchSession(token);
    if (!operates || name === null) throw new ApiError("This token may not give orders: sealwire token create --scope operate makes one that may.", 403);
    this.#own = { name, token };
  }

  forget(): void {
    this.#own = null;
  }

  /** Gives an order in the operator's name, and returns what was sealed. */
  async order(log: string | null, sensor: string, order: Order): Promise<Sealed> {
    try {
      return await giveOrder(log, sensor, order, this.#own?.token);
    } catch (error) {
      // It was revoked.
      if (error instanceof ApiError && error.status === 401) this.forget();
      throw error;
    }
  }
}

export const session = new Session();
