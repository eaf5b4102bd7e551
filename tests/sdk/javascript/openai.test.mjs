// The official JavaScript SDK, made as a user makes it, against the gateway and its fake providers.
// `make test-javascript` starts those; lanes are described in tests/stack/resources.py.

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { WEIGHBRIDGE_URL, WEIGHBRIDGE_KEY, MAIN_URL, SPARE_URL } = process.env;
assert.ok(WEIGHBRIDGE_URL, "start these tests with `make test-javascript`");

const client = new OpenAI({ baseURL: `${WEIGHBRIDGE_URL}/v1`, apiKey: WEIGHBRIDGE_KEY });
const messages = [{ role: "user", content: "What does the scale say?" }];
const parameters = {
  type: "object",
  properties: { load: { type: "string" } },
  required: ["load"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "weigh", parameters, strict: true } }];
const Reading = z.object({ unit: z.string(), kilograms: z.number() });

let lanes = 0;

/** A model name that no other test uses, with its accounts as the fake providers call them. */
function takeLane() {
  const number = String(lanes++).padStart(2, "0");
  return {
    model: `lane-${number}`,
    accounts: { large: `${number}-a`, small: `${number}-b`, spare: `${number}-c` },
  };
}

async function control(url, method, what, body) {
  const answer = await fetch(`${url}/_mock/${what}`, { method, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${what}: ${answer.status}`);
  return answer.status === 204 ? undefined : answer.json();
}

/** Lets the lane's accounts meet faults from now on. */
async function script(lane, faults) {
  const rules = (names) =>
    names
      .filter((name) => faults[name])
      .map((name) => ({ when: { account: lane.accounts[name] }, fault: faults[name] }));
  await control(MAIN_URL, "PUT", "faults", { rules: rules(["large", "small"]) });
  await control(SPARE_URL, "PUT", "faults", { rules: rules(["spare"]) });
}

/** How many requests the providers saw on the lane, by account. */
async function requests(lane) {
  const main = (await control(MAIN_URL, "GET", "counters")).by_account;
  const spare = (await control(SPARE_URL, "GET", "counters")).by_account;
  return {
    large: main[lane.accounts.large] ?? 0,
    small: main[lane.accounts.small] ?? 0,
    spare: spare[lane.accounts.spare] ?? 0,
  };
}

/** What the main provider logged about the lane. */
async function entries(lane) {
  const log = await control(MAIN_URL, "GET", "log");
  return log.filter(({ account }) => account === lane.accounts.large || account === lane.accounts.small);
}

/** Waits until the main provider saw one of the lane's requests end like this. */
async function awaitOutcome(lane, outcome, milliseconds = 5000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const outcomes = (await entries(lane)).map((entry) => entry.outcome);
    if (outcomes.includes(outcome)) return;
    assert.ok(Date.now() < deadline, `requests ended as ${outcomes}, none as ${outcome}`);
  }
}

afterEach(async () => {
  await control(MAIN_URL, "DELETE", "faults");
  await control(SPARE_URL, "DELETE", "faults");
});

after(() => assert.ok(lanes < 70, "the lanes from 70 on are of another kind"));

test("a chat completion is answered, and says who served it", async () => {
  const lane = takeLane();
  const { data, response } = await client.chat.completions
    .create({ model: lane.model, messages })
    .withResponse();
  assert.ok(data.choices[0].message.content);
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.equal(response.headers.get("x-weighbridge-route"), `default/${lane.model}`);
  assert.equal(response.headers.get("x-weighbridge-provider"), `default/${lane.model}-main`);
  assert.equal(response.headers.get("x-weighbridge-attempts"), "1");
});

test("ten requests share two accounts seven to three", async () => {
  const lane = takeLane();
  for (let request = 0; request < 10; request++) {
    await client.chat.completions.create({ model: lane.model, messages });
  }
  assert.deepEqual(await requests(lane), { large: 7, small: 3, spare: 0 });
});

test("a stream arrives in pieces, with usage only when that is asked for", async () => {
  const lane = takeLane();
  for (const include_usage of [false, true]) {
    const stream = await client.chat.completions.create({
      model: lane.model,
      messages,
      stream: true,
      ...(include_usage && { stream_options: { include_usage } }),
    });
    const pieces = [];
    let usage;
    for await (const chunk of stream) {
      pieces.push(chunk.choices[0]?.delta.content ?? "");
      usage = chunk.usage ?? usage;
    }
    assert.ok(pieces.filter(Boolean).length > 1);
    assert.equal(usage !== undefined, include_usage);
  }
});

test("the stream helper accumulates a whole completion", async () => {
  const lane = takeLane();
  const stream = client.chat.completions.stream({ model: lane.model, messages });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].message.content, text);
  assert.ok(text);
});

test("tool calls come whole and in pieces", async () => {
  const lane = takeLane();
  const request = { model: lane.model, messages, tools, tool_choice: "required" };
  const whole = await client.chat.completions.create(request);
  assert.equal(typeof JSON.parse(whole.choices[0].message.tool_calls[0].function.arguments).load, "string");
  const stream = client.chat.completions.stream(request);
  const pieces = [];
  stream.on("tool_calls.function.arguments.delta", (event) => pieces.push(event.arguments_delta));
  const streamed = await stream.finalChatCompletion();
  const call = streamed.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "weigh");
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), call.function.arguments);
});

test("structured answers are parsed", async () => {
  const lane = takeLane();
  const chat = await client.chat.completions.parse({
    model: lane.model,
    messages,
    response_format: zodResponseFormat(Reading, "reading"),
  });
  assert.equal(typeof chat.choices[0].message.parsed.kilograms, "number");
  const response = await client.responses.parse({
    model: lane.model,
    input: "What does the scale say?",
    text: { format: zodTextFormat(Reading, "reading") },
  });
  assert.equal(typeof response.output_parsed.kilograms, "number");
});

test("a response is answered and streamed", async () => {
  const lane = takeLane();
  const request = { model: lane.model, input: "What does the scale say?" };
  const whole = await client.responses.create(request);
  assert.equal(whole.status, "completed");
  assert.ok(whole.output_text);
  const kinds = [];
  let text = "";
  let last;
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    kinds.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }
  assert.equal(kinds[0], "response.created");
  assert.equal(last.type, "response.completed");
  assert.equal(text, last.response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join(""));
});

test("embeddings come as numbers", async () => {
  const lane = takeLane();
  const packed = await client.embeddings.create({ model: lane.model, input: ["one", "two"] });
  const plain = await client.embeddings.create({
    model: lane.model,
    input: ["one", "two"],
    encoding_format: "float",
  });
  assert.equal(packed.data.length, 2);
  assert.ok(packed.data[0].embedding.every((number) => typeof number === "number"));
  assert.deepEqual(
    packed.data.map(({ embedding }) => Array.from(embedding)),
    plain.data.map(({ embedding }) => Array.from(new Float32Array(embedding))),
  );
});

test("the models are listed and described", async () => {
  const lane = takeLane();
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes(lane.model));
  assert.equal((await client.models.retrieve(lane.model)).id, lane.model);
});

test("the caller's own faults have their own errors", async () => {
  const lane = takeLane();
  const stranger = client.withOptions({ apiKey: "wb-unknown" });
  await assert.rejects(
    stranger.chat.completions.create({ model: lane.model, messages }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "no-such-model", messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.chat.completions.create(
      { model: lane.model, messages },
      { headers: { "x-mock-fault": "error=context-length" } },
    ),
    (error) => error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded",
  );
  const { large, small, spare } = await requests(lane);
  assert.equal(large + small + spare, 1);
});

test("a failing provider is replaced before the caller sees it", async () => {
  const lane = takeLane();
  await script(lane, { large: { status: 500 }, small: { cut: "before-content" } });
  for (const stream of [false, true]) {
    const answer = await client.chat.completions.create({ model: lane.model, messages, stream });
    if (!stream) continue;
    let text = "";
    for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? "";
    assert.ok(text);
  }
});

test("limited everywhere is a rate limit error with the time to wait", async () => {
  const lane = takeLane();
  const limited = { status: 429, "retry-after": 30 };
  await script(lane, { large: limited, small: limited, spare: limited });
  const once = client.withOptions({ maxRetries: 0 });
  await assert.rejects(once.chat.completions.create({ model: lane.model, messages }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.headers.get("x-should-retry"), null);
    assert.ok(Number(error.headers.get("retry-after")) > 20);
    return true;
  });
  assert.deepEqual(await requests(lane), { large: 1, small: 1, spare: 1 });
});

test("retries of SDK and gateway do not multiply", async () => {
  const lane = takeLane();
  const failing = { status: 500 };
  await script(lane, { large: failing, small: failing, spare: failing });
  await assert.rejects(
    client.chat.completions.create({ model: lane.model, messages }),
    (error) => error instanceof OpenAI.InternalServerError && error.headers.get("x-should-retry") === "false",
  );
  // Either backend once, and one repeat at most: the SDK's two retries didn't happen.
  const { large, small, spare } = await requests(lane);
  assert.ok([2, 3].includes(large + small + spare), `${large} + ${small} + ${spare}`);
});

for (const [name, fault] of [
  ["cut", { cut: 6 }],
  ["ended without its last event", { end: 6 }],
  ["ended with an error event", { "error-event": 6 }],
]) {
  test(`a stream that is ${name} after content rejects`, async () => {
    const lane = takeLane();
    await script(lane, { large: { ...fault, words: 40 }, small: { ...fault, words: 40 } });
    const stream = await client.chat.completions.create({ model: lane.model, messages, stream: true });
    let text = "";
    await assert.rejects(async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    });
    assert.ok(text);
  });
}

test("the SDK's timeout ends the call upstream", async () => {
  const lane = takeLane();
  await script(lane, { large: { delay: "30s" }, small: { delay: "30s" } });
  await assert.rejects(
    client.chat.completions.create({ model: lane.model, messages }, { timeout: 500, maxRetries: 0 }),
    OpenAI.APIConnectionTimeoutError,
  );
  await awaitOutcome(lane, "cancelled");
});

test("aborting a stream cancels it upstream", async () => {
  const lane = takeLane();
  const slow = { words: 2000, "event-delay": "20ms" };
  await script(lane, { large: slow, small: slow });
  const stream = await client.chat.completions.create({ model: lane.model, messages, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) stream.controller.abort();
  }
  await awaitOutcome(lane, "cancelled", 2000);
});
