"""The data sets' descriptions in Croissant 1.0, a JSON-LD format that data set catalogues exchange.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html. A description has the publisher's terms and the table
behind the Explore page, as a CSV file next to it; the images stay with their publisher.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records
from skinapp.demographics.records import Table
from skinapp.errors import DataError
from skinapp.files import replacing

LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
"""The address of each licence's text."""
NUMBERS = {"lesion": "sc:Integer", "images": "sc:Integer", "age": "sc:Float"}
"""The columns that hold numbers, and their types; all others hold text."""
MEANINGS = {
    "image": "The image, as the publisher names it",
    "lesion": "A number for each lesion, different from the publisher's",
    "images": "How many images of the lesion have the values of this row",
    "age": "Age in years",
    "skin_tone": "Skin tone from 0 (very dark) to 5 (very light)",
}
"""The meaning of each column whose name on the screen does not explain it."""
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes."""


def write(folder: Path) -> list[Path]:
    """Write `<id>.json`, and its table `<id>.csv`, for every data set of the registry; return the descriptions.
    DataError if the folder cannot be created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be created ({error.strerror}).") from None
    written = []
    for dataset in DATASETS:
        table = records.shipped(dataset)
        content = _csv(table)
        with replacing(folder / f"{dataset}.csv") as partial:
            partial.write_bytes(content)
        with replacing(folder / f"{dataset}.json") as partial:
            partial.write_text(
                json.dumps(describe(table, content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        written.append(folder / f"{dataset}.json")
    return written


def describe(table: Table, content: bytes) -> dict[str, Any]:
    """The description of a shipped table, whose CSV file has this content."""
    dataset, file = DATASETS[table.id], f"{table.id}.csv"
    year = re.search(r"\b(?:19|20)\d\d\b", dataset.citation)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": dataset.id,
        "alternateName": dataset.name,
        "description": f"{dataset.about} {dataset.published_images:,} images are published. This is their table: each "
        "row stands for the images of one lesion with the same values.",
        "citeAs": dataset.attribution,
        **({"datePublished": year[0]} if year else {}),
        "license": LICENCES.get(dataset.licence, dataset.licence),
        "url": dataset.publisher.address,
        "rai:dataLimitations": [f"{head}. {text}" for head, text in limitations.limits(table)],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "description": f"The table of {dataset.title}.",
                "contentUrl": file,
                "contentSize": f"{len(content)} B",
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "The images, counted by lesion and by what is known about them.",
                "field": [_field(name, file) for name in _columns(table)],
            }
        ],
    }


def _field(name: str, file: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": MEANINGS.get(name) or records.NAMES[name],
        "dataType": NUMBERS.get(name, "sc:Text"),
        "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
    }


def _columns(table: Table) -> list[str]:
    known = dict.fromkeys((*MEANINGS, *records.NAMES))
    return [name for name in known if name in table.frame]


def _csv(table: Table) -> bytes:
    return table.frame[_columns(table)].to_csv(index=False).encode()
