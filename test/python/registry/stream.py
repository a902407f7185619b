"""Writes rows to Kafka as Confluent's serialisers do, or reads a stream's results as its deserialisers do.

    python stream.py produce BROKER REGISTRY TOPIC KIND COUNT   rows 0 to COUNT-1 of id and c0 to c5, given as JSON lines on standard input
    python stream.py consume BROKER REGISTRY TOPIC KIND COUNT   COUNT results, as JSON lines
"""

import json
import sys
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import records

_, verb, broker, registry, topic, kind, count = sys.argv
count = int(count)
columns = [f"c{i}" for i in range(6)]


def message_class():
    F = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="row.proto", package="test", syntax="proto3")
    m = file.message_type.add(name="Row")
    m.field.add(name="id", number=1, type=F.TYPE_INT64, label=1)
    for i, c in enumerate(columns):
        m.field.add(name=c, number=2 + i, type=F.TYPE_FLOAT, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Row"))


def produce():
    made = records.Serialisers(registry)
    row = message_class()
    schemas = {
        "avro": {"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}] + [{"name": c, "type": "float"} for c in columns]},
        "json": {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Row", "type": "object", "properties": {c: {"type": "number"} for c in columns}},
        "protobuf": row,
    }
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20})
    for line in sys.stdin:
        value = json.loads(line)
        value = row(**value) if kind == "protobuf" else value
        producer.produce(topic, key=f"customer-{0}", value=made.write(topic, kind, schemas[kind], value))
        producer.poll(0)
    producer.flush()


def consume():
    client = SchemaRegistryClient({"url": registry})
    read = {"avro": lambda: AvroDeserializer(client), "json": lambda: JSONDeserializer(None, schema_registry_client=client)}[kind]()
    consumer = Consumer({"bootstrap.servers": broker, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    for _ in range(count):
        m = consumer.poll(60)
        if m is None or m.error():
            sys.exit(f"no further result: {m and m.error()}")
        print(json.dumps(read(m.value(), SerializationContext(topic, MessageField.VALUE))))
    consumer.close()


{"produce": produce, "consume": consume}[verb]()
