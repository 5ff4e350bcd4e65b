// Takes each question and sends its answer.

import { get } from "wasi:config/store@0.2.0-rc.1";
import { publish } from "wasmcloud:messaging/consumer@0.2.0";
import { process } from "./process.js";
import { decode, encode } from "./text.js";

/** Version of the questions that this code understands. */
const VERSION = 1;

export const handler = {
  handleMessage(message) {
    const question = JSON.parse(decode(message.body));
    if (question.version !== VERSION) {
      throw `questions of version ${question.version} are not understood`;
    }
    const answer = { component: get("digest"), derived: question.events.flatMap(process) };
    const body = encode(JSON.stringify(answer));
    publish({ subject: message.replyTo, body });
  },
};
