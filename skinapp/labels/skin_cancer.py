"""Skin cancer and the sun in general, in plain words with sources."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A part of the chapter: its heading, paragraphs or points in Markdown, and links to its sources."""

    title: str
    points: tuple[str, ...]
    sources: tuple[str, ...]


WHO_UV = "[WHO: Ultraviolet radiation](https://www.who.int/news-room/fact-sheets/detail/ultraviolet-radiation)"
NCI = "[US National Cancer Institute: Skin cancer](https://www.cancer.gov/types/skin)"

TOPICS = (
    Topic(
        "Types of skin cancer",
        (
            "**Basal cell carcinoma** is the most common. It grows slowly and hardly ever spreads, but it destroys the "
            "skin around it.",
            "**Squamous cell carcinoma** comes next. Most are cured by cutting them out; a few spread. Actinic "
            "keratosis and Bowen's disease can come before it.",
            "**Melanoma** is rarer and causes most deaths from skin cancer. Found early, it is nearly always cured.",
            "In 2022, about 330,000 melanomas and 1.2 million other skin cancers were recorded worldwide. Many of the "
            "others are never recorded.",
        ),
        (NCI, "[IARC: Global Cancer Observatory](https://gco.iarc.who.int/)"),
    ),
    Topic(
        "Rare skin cancers that no model here knows",
        (
            "No data set here includes the four below, so every model calls such a spot something else.",
            "**Merkel cell carcinoma**: a firm, painless, red to violet lump that grows within weeks, mostly on the "
            "head or neck of people over 70 or with a weak immune system. It spreads early.",
            "**Angiosarcoma**: a patch like a bruise that does not fade, mostly on the scalp or face of older people, "
            "or years after radiation, or on a swollen arm. It grows and bleeds.",
            "**Lymphoma of the skin**: scaly patches that look like eczema for months or years, often where the sun "
            "does not reach, and do not heal with creams. Most kinds grow slowly.",
            "**Kaposi sarcoma**: purple, red or brown patches or bumps on the legs, on the face or in the mouth, "
            "caused by a herpesvirus, mostly in people with a weak immune system.",
            "A spot that grows fast, a bruise that stays, or a rash that does not heal needs a doctor, whatever a "
            "model calls it.",
        ),
        (
            "[DermNet: Merkel cell carcinoma](https://dermnetnz.org/topics/merkel-cell-carcinoma)",
            "[DermNet: Angiosarcoma](https://dermnetnz.org/topics/angiosarcoma)",
            "[DermNet: Cutaneous T-cell lymphoma](https://dermnetnz.org/topics/cutaneous-t-cell-lymphoma)",
            "[NHS: Kaposi's sarcoma](https://www.nhs.uk/conditions/kaposis-sarcoma/)",
        ),
    ),
    Topic(
        "Ultraviolet light and the UV index",
        (
            "Ultraviolet light from the sun and from tanning beds causes most skin cancers. It cannot be seen or felt: "
            "a cool, windy or hazy day can have a lot of it.",
            "The **UV index** in weather reports says how strong it is. At 3 or above, protect your skin; at 8 or "
            "above, stay out of the sun around midday.",
            "Shade, clothes, a hat with a wide brim and sunglasses protect best. Use sunscreen with a factor of 30 or "
            "more on the skin that is still exposed; put on plenty, and reapply it every two hours and after swimming.",
            "Snow, water and sand reflect ultraviolet light, thin clouds let most of it through, and there is more of "
            "it in the mountains.",
        ),
        (
            WHO_UV,
            "[NHS: Sunscreen and sun safety](https://www.nhs.uk/live-well/seasonal-health/sunscreen-and-sun-safety/)",
        ),
    ),
    Topic(
        "Sunburn",
        (
            "Each sunburn adds to the risk of skin cancer, and those in childhood add most. A tan is a sign of "
            "damage too, and gives hardly any protection.",
            "Get out of the sun, cool the skin with water, use a light lotion, and drink plenty of water. Do not "
            "burst blisters, and keep the skin covered until it has healed.",
            "See a doctor for large blisters, fever, dizziness or vomiting, and for a baby or small child.",
        ),
        ("[NHS: Sunburn](https://www.nhs.uk/conditions/sunburn/)", WHO_UV),
    ),
    Topic(
        "Tanning beds",
        (
            "IARC, the World Health Organization's cancer agency, counts tanning beds among the things that are "
            "known to cause cancer. The earlier in life people start, the higher their risk of melanoma.",
            "A tan from a tanning bed does not prepare the skin for the sun. There is no safe amount.",
        ),
        ("[IARC Monographs](https://monographs.iarc.who.int/)", WHO_UV),
    ),
    Topic(
        "Skin of every colour",
        (
            "Skin cancer is less common in dark skin, but it is often found later. Melanoma in dark skin grows mostly "
            "on the palms, on the soles and under the nails, where the sun plays no part: look there too.",
            "Most images that the models here were trained on show light skin. The models have hardly been tested on "
            "dark skin.",
        ),
        ("[American Academy of Dermatology: Skin cancer](https://www.aad.org/public/diseases/skin-cancer)",),
    ),
)
