"""Records, and their schemas, that Confluent's own serialisers write: for golden.py and for the test through the real binary."""

import datetime
import decimal
import json
import uuid

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

AVRO = {
    "type": "record", "name": "Applicant", "namespace": "risk", "fields": [
        {"name": "id", "type": "long"},
        {"name": "age", "type": "int"},
        {"name": "income", "type": ["null", "double"], "default": None},
        {"name": "job", "type": {"type": "enum", "name": "Job", "symbols": ["NONE", "CLERK", "PILOT"]}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "since", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "born", "type": {"type": "int", "logicalType": "date"}},
        {"name": "ref", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "address", "type": ["null", {"type": "record", "name": "Address", "fields": [
            {"name": "zip", "type": "string"}, {"name": "geo", "type": {"type": "array", "items": "float"}}]}], "default": None},
        {"name": "ratios", "type": {"type": "map", "values": "double"}},
        {"name": "other", "type": ["null", "Address"], "default": None},
    ],
}
# What another team made of it a year later: a field more, one wider, one in another place, one gone.
AVRO_LATER = {
    "type": "record", "name": "Applicant", "namespace": "risk", "fields": [
        {"name": "segment", "type": "string", "default": "none"},
        {"name": "age", "type": "long"},
        {"name": "id", "type": "long"},
        {"name": "income", "type": "float"},
        {"name": "job", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "since", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "address", "type": {"type": "record", "name": "Address", "fields": [
            {"name": "zip", "type": ["null", "string"]}, {"name": "geo", "type": {"type": "array", "items": "double"}}]}},
        {"name": "ratios", "type": {"type": "map", "values": "double"}},
    ],
}
UTC = datetime.timezone.utc
AVRO_RECORD = {
    "id": 4711, "age": 42, "income": 1234.5, "job": "PILOT", "amount": decimal.Decimal("1999.99"),
    "since": datetime.datetime(2026, 11, 27, 8, 0, 0, 250000, tzinfo=UTC), "born": datetime.date(1984, 2, 29),
    "ref": str(uuid.UUID("0af76519-16cd-43dd-8448-eb211c80319c")), "address": {"zip": "8001", "geo": [47.375, 8.5]}, "ratios": {"debt": 0.25}, "other": None,
}
AVRO_LATER_RECORD = {
    "segment": "gold", "age": 43, "id": 4712, "income": 10.5, "job": "CLERK", "amount": 5.5, "since": datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    "address": {"zip": None, "geo": [1.0, 2.0]}, "ratios": {},
}
JSON = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "Applicant", "type": "object", "required": ["id", "age", "address"],
    "properties": {
        "id": {"type": "integer"}, "age": {"type": "integer", "minimum": 0}, "job": {"enum": ["NONE", "CLERK", "PILOT"]},
        "income": {"type": ["null", "number"]}, "address": {"type": "object", "properties": {"zip": {"type": "string"}}},
    },
}
JSON_RECORD = {"id": 4711, "age": 42, "job": "PILOT", "income": None, "address": {"zip": "8001"}}


def _field(message, name, number, kind, label=1, of=None, oneof=None, optional=False):
    f = message.field.add(name=name, number=number, type=kind, label=label)
    if of:
        f.type_name = of
    if oneof is not None:
        f.oneof_index = oneof
    if optional:
        f.proto3_optional = True
        f.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name="_" + name)


def protobuf():
    """The class of risk.Outer.Applicant, whose file imports another one of the registry, Google's and Confluent's decimal."""
    F = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    common = descriptor_pb2.FileDescriptorProto(name="risk/common.proto", package="risk", syntax="proto3")
    address = common.message_type.add(name="Address")
    _field(address, "zip", 1, F.TYPE_STRING)
    _field(address, "geo", 2, F.TYPE_FLOAT, F.LABEL_REPEATED)
    file = descriptor_pb2.FileDescriptorProto(name="risk/applicant.proto", package="risk", syntax="proto3", dependency=[
        "risk/common.proto", "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"])
    file.message_type.add(name="Unused").field.add(name="x", number=1, type=F.TYPE_INT32, label=1)
    job = file.enum_type.add(name="Job")
    for number, name in enumerate(["NONE", "CLERK", "PILOT"]):
        job.value.add(name=name, number=number)
    outer = file.message_type.add(name="Outer")
    m = outer.nested_type.add(name="Applicant")
    _field(m, "id", 1, F.TYPE_SINT64)
    _field(m, "age", 2, F.TYPE_INT32)
    m.oneof_decl.add(name="earns")
    _field(m, "income", 3, F.TYPE_DOUBLE, oneof=0)
    _field(m, "wage", 4, F.TYPE_FLOAT, oneof=0)
    _field(m, "job", 5, F.TYPE_ENUM, of=".risk.Job")
    _field(m, "since", 6, F.TYPE_MESSAGE, of=".google.protobuf.Timestamp")
    _field(m, "score", 7, F.TYPE_MESSAGE, of=".google.protobuf.DoubleValue")
    _field(m, "address", 8, F.TYPE_MESSAGE, of=".risk.Address")
    entry = m.nested_type.add(name="RatiosEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1, F.TYPE_STRING)
    _field(entry, "value", 2, F.TYPE_DOUBLE)
    _field(m, "ratios", 9, F.TYPE_MESSAGE, F.LABEL_REPEATED, of=".risk.Outer.Applicant.RatiosEntry")
    _field(m, "limit", 10, F.TYPE_FIXED64, optional=True)
    _field(m, "zero", 11, F.TYPE_UINT32)
    pool.Add(common)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("risk.Outer.Applicant"))


def protobuf_record(kind, **change):
    values = dict(id=-4711, age=42, job=2, income=1234.5, ratios={"debt": 0.25})
    m = kind(**{**values, **change})
    m.since.FromDatetime(datetime.datetime(2026, 11, 27, 8, 0, 0, 250000, tzinfo=UTC))
    m.address.zip = "8001"
    m.address.geo.extend([47.375, 8.5])
    return m


class Serialisers:
    """Values to bytes, for a topic, with schemas that are registered on the way."""

    def __init__(self, url):
        self.client = SchemaRegistryClient({"url": url})
        self.kinds = {}

    def write(self, topic, kind, schema, value):
        key = (kind, id(schema))
        if key not in self.kinds:
            made = {
                "avro": lambda: AvroSerializer(self.client, json.dumps(schema)),
                "json": lambda: JSONSerializer(json.dumps(schema), self.client),
                "protobuf": lambda: ProtobufSerializer(schema, self.client, {"use.deprecated.format": False}),
            }
            self.kinds[key] = made[kind]()
        return self.kinds[key](value, SerializationContext(topic, MessageField.VALUE))
