"""Writes to standard output what stream/format/testdata/registry.json holds: schemas and messages as Confluent's serialisers
make them with the registry at the given URL, which must be empty.

    python golden.py http://127.0.0.1:8081/apis/ccompat/v7 > ../../../stream/format/testdata/registry.json
"""

import json
import sys

import records as r

url = sys.argv[1]
s = r.Serialisers(url)
applicant = r.protobuf()
both = r.protobuf_record(applicant)
messages = {
    "avro": s.write("avro", "avro", r.AVRO, r.AVRO_RECORD),
    "avro-later": s.write("avro-later", "avro", r.AVRO_LATER, r.AVRO_LATER_RECORD),
    "protobuf": s.write("protobuf", "protobuf", applicant, both),
    "protobuf-wage": s.write("protobuf", "protobuf", applicant, r.protobuf_record(applicant, income=None, wage=2.5, limit=7, ratios={})),
    "protobuf-empty": s.write("protobuf", "protobuf", applicant, applicant()),
    "json": s.write("json", "json", r.JSON, r.JSON_RECORD),
}
schemas = []
for subject in s.client.get_subjects():
    for version in s.client.get_versions(subject):
        v = s.client.get_version(subject, version)
        schemas.append({
            "subject": subject, "version": version, "id": v.schema_id, "type": v.schema.schema_type or "AVRO", "schema": v.schema.schema_str,
            "references": [{"name": x.name, "subject": x.subject, "version": x.version} for x in v.schema.references or []],
        })
schemas.sort(key=lambda x: x["id"])
json.dump({"schemas": schemas, "messages": {k: v.hex() for k, v in messages.items()}}, sys.stdout, indent=1)
print()
