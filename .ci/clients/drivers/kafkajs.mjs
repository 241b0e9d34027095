// Driver of KafkaJS: JavaScript from the socket up, with protocol versions of 2020.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The clients were installed somewhere else: NODE_PATH says where.
const require = createRequire(`${process.env.NODE_PATH}/`);
const { Kafka, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Partitioners, logLevel } = require("kafkajs");
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const kafka = new Kafka({ clientId: "kafkajs", brokers: [process.argv[2]], logLevel: logLevel.ERROR, logCreator });
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy };
const members = new Map();

// Standard output is for answers.
function logCreator() {
  return ({ label, log }) => process.stderr.write(`${label} ${JSON.stringify(log)}\n`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function withAdmin(what) {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await what(admin);
  } finally {
    await admin.disconnect();
  }
}

function producer(settings) {
  return kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings });
}

// KafkaJS has an object of headers, with a list where a name comes more than once, so it keeps the order of names only.
function toHeaders(pairs) {
  const headers = {};
  for (const [name, value] of pairs ?? []) (headers[name] ??= []).push(value);
  return headers;
}

function fromHeaders(headers) {
  const text = (value) => (value === null || value === undefined ? null : value.toString());
  return Object.entries(headers ?? {}).flatMap(([name, values]) => [values].flat().map((value) => [name, text(value)]));
}

function send(to, request, settings) {
  const messages = request.records.map(({ partition, key, value, headers, timestamp }) => ({
    key: key ?? null,
    value: value ?? null,
    partition: partition ?? undefined,
    headers: toHeaders(headers),
    timestamp: timestamp === undefined || timestamp === null ? undefined : String(timestamp),
  }));
  return to.send({ topic: request.topic, compression: codecs[request.codec ?? "none"], messages, ...settings });
}

function record(partition, message) {
  return {
    partition,
    offset: Number(message.offset),
    key: message.key?.toString() ?? null,
    value: message.value?.toString() ?? null,
    headers: fromHeaders(message.headers),
    timestamp: Number(message.timestamp),
  };
}

async function join({ member, group, topic, isolation = "read_uncommitted" }) {
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: 10000,
    heartbeatInterval: 500,
    rebalanceTimeout: 10000,
    maxWaitTimeInMs: 200,
    maxBytesPerPartition: 20_000_000,
    maxBytes: 50_000_000,
    readUncommitted: isolation === "read_uncommitted",
  });
  const state = { consumer, topic, records: [], assignment: [], positions: new Map(), last: Date.now() };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    state.assignment = [...(payload.memberAssignment[topic] ?? [])].sort((a, b) => a - b);
    state.last = Date.now();
  });
  consumer.on(consumer.events.REBALANCING, () => (state.assignment = []));
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      state.records.push(record(partition, message));
      state.positions.set(partition, Number(message.offset) + 1);
      state.last = Date.now();
    },
  });
  members.set(member, state);
  return state;
}

async function leave({ member }) {
  const { consumer } = members.get(member);
  members.delete(member);
  await consumer.disconnect();
}

const operations = {
  create_topic: ({ topic, partitions = 1, configs = {} }) =>
    withAdmin(async (admin) => {
      const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
      await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] });
    }),

  add_partitions: ({ topic, total }) =>
    withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic, count: total }] })),

  delete_topic: ({ topic }) => withAdmin((admin) => admin.deleteTopics({ topics: [topic] })),

  list_topics: () => withAdmin(async (admin) => (await admin.listTopics()).sort()),

  // [leader, replicas] of each partition.
  describe_topic: ({ topic }) =>
    withAdmin(async (admin) => {
      const [found] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics;
      const partitions = found.partitions.sort((a, b) => a.partitionId - b.partitionId);
      return partitions.map(({ leader, replicas }) => [leader, replicas]);
    }),

  topic_configs: ({ topic }) =>
    withAdmin(async (admin) => {
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }];
      const [found] = (await admin.describeConfigs({ resources, includeSynonyms: false })).resources;
      return Object.fromEntries(found.configEntries.map(({ configName, configValue }) => [configName, configValue]));
    }),

  // With the older request, which takes away what it does not name.
  replace_topic_configs: ({ topic, configs }) =>
    withAdmin(async (admin) => {
      const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }];
      await admin.alterConfigs({ validateOnly: false, resources });
    }),

  // [[partition, offset]]: everything before that offset.
  delete_records: ({ topic, offsets }) =>
    withAdmin(async (admin) => {
      const partitions = offsets.map(([partition, offset]) => ({ partition, offset: String(offset) }));
      // It asks for the leader of a topic that it must know already.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions });
    }),

  produce: async (request) => {
    const { acks = "all", idempotent = false } = request;
    const to = producer({ idempotent });
    await to.connect();
    try {
      await send(to, request, { acks: acks === "all" ? -1 : Number(acks) });
    } finally {
      await to.disconnect();
    }
  },

  transaction: async (request) => {
    const to = producer({ transactionalId: request.transactional_id, idempotent: true, maxInFlightRequests: 1 });
    await to.connect();
    try {
      const transaction = await to.transaction();
      await send(transaction, request, { acks: -1 });
      if (request.offsets) {
        await transaction.sendOffsets({
          consumerGroupId: members.get(request.offsets.member).group,
          topics: request.offsets.offsets.map(({ topic, partition, offset }) => ({
            topic,
            partitions: [{ partition, offset: String(offset) }],
          })),
        });
      }
      await (request.end === "commit" ? transaction.commit() : transaction.abort());
    } finally {
      await to.disconnect();
    }
  },

  // All records; KafkaJS reads in groups only and does not tell where the end of committed data is, so the end is where
  // nothing came for a while.
  consume: async ({ topic, isolation }) => {
    const member = `consume-${Date.now()}`;
    const state = await join({ member, group: member, topic, isolation });
    state.last = Date.now() + 2000;
    while (state.assignment.length === 0 || Date.now() - state.last < 1500) await sleep(50);
    await leave({ member });
    return state.records;
  },

  join: async (request) => {
    const state = await join(request);
    state.group = request.group;
  },

  poll: async ({ member, seconds = 0.5 }) => {
    await sleep(seconds * 1000);
    const state = members.get(member);
    return { records: state.records.splice(0), assignment: state.assignment };
  },

  commit: async ({ member, offsets }) => {
    const { consumer, topic, positions } = members.get(member);
    const wanted = offsets ?? [...positions].map(([partition, offset]) => [partition, offset, ""]);
    await consumer.commitOffsets(
      wanted.map(([partition, offset, metadata]) => ({ topic, partition, offset: String(offset), metadata })),
    );
  },

  leave,

  committed: ({ group, topic }) =>
    withAdmin(async (admin) => {
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
      const known = found.partitions.filter(({ offset }) => Number(offset) >= 0);
      return Object.fromEntries(
        known.map(({ partition, offset, metadata }) => [partition, [Number(offset), metadata ?? ""]]),
      );
    }),

  list_groups: () => withAdmin(async (admin) => (await admin.listGroups()).groups.map(({ groupId }) => groupId).sort()),

  // [state, number of members]
  describe_group: ({ group }) =>
    withAdmin(async (admin) => {
      const [found] = (await admin.describeGroups([group])).groups;
      return [found.state.toLowerCase(), found.members.length];
    }),

  delete_group: ({ group }) => withAdmin((admin) => admin.deleteGroups([group])),

  // [[partition, offset]] of a group without members.
  alter_offsets: ({ group, topic, offsets }) =>
    withAdmin((admin) => {
      const partitions = offsets.map(([partition, offset]) => ({ partition, offset: String(offset) }));
      return admin.setOffsets({ groupId: group, topic, partitions });
    }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...request } = JSON.parse(line);
  let answer;
  try {
    if (!(op in operations)) throw new Error(`no such operation: ${op}`);
    answer = { ok: (await operations[op](request)) ?? null };
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    // What it says of several things at once is in lists.
    const { groups = [], partitions = [] } = error.cause ?? error;
    const each = [...groups, ...partitions].map((of) => `: ${of.error ?? of.errorCode}`);
    answer = { error: String(error) + each.join("") };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
// Members that were not told to leave must not keep the process alive.
process.exit(0);
