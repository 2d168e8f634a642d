"""How to photograph a spot over time, and how often to look, in plain words with sources."""

TITLE = "Check a spot over time"

SIGNS = {
    "Asymmetry": "One half does not match the other.",
    "Border": "The edge is ragged, notched or blurred.",
    "Colour": "There are several colours: shades of brown and black, or red, white or blue.",
    "Diameter": "It is wider than 6 mm, about the width of a pencil. Some melanomas are smaller.",
    "Evolving": "It changes in size, shape, colour or height, or begins to itch or bleed. This sign matters most.",
}
"""The ABCDE signs of melanoma. Not all melanomas have them; see DOCTOR too."""

DOCTOR = "When to see a doctor now"
"""The most important of the SECTIONS, which the guide shows first."""

SECTIONS = {
    "How to take the photos": (
        "Use the same camera each time, in daylight by a window, without flash and without a filter.",
        "Hold the camera parallel to the skin, 10 to 15 cm away, until it is sharp. Do not zoom in: that blurs "
        "the photo.",
        "Show a few centimetres of skin around the spot. Creases, freckles and hairs are used to line up the photos.",
        "Put a coin or a ruler beside the spot, flat on the skin. Only then can its size be compared in millimetres.",
        "Stand or sit the same way each time, with dry, clean skin. Stretched skin makes a spot look larger.",
        "Note where on the body it is, and take one photo from further away that shows it.",
    ),
    "How often to look": (
        "Look over all of your skin once a month, with a mirror or someone's help for your back, scalp and soles.",
        "Photograph a spot that you want to watch after one month and again after three. Most melanomas that doctors "
        "watched had changed within three months; most moles had not.",
        "A photo cannot replace a visit. Do not wait for the next photo if you see one of the signs above.",
    ),
    DOCTOR: (
        "The spot is new and unlike your others, or it has changed in size, shape or colour within weeks or months.",
        "It itches, hurts, bleeds, oozes or crusts, or does not heal within four weeks.",
        "It has two halves that do not match, a ragged edge, several colours, or is wider than 6 mm.",
        "It worries you. That is reason enough, whatever this page or a model says.",
    ),
}
"""Heading -> sentences."""

SOURCES = (
    "[American Academy of Dermatology](https://www.aad.org/public/diseases/skin-cancer/find/check-skin)",
    "[Skin Cancer Foundation](https://www.skincancer.org/early-detection/self-exams/)",
    "[NHS](https://www.nhs.uk/conditions/melanoma-skin-cancer/symptoms/)",
    "[Menzies et al. 2001](https://doi.org/10.1001/archderm.137.12.1583), on moles that were watched for three months",
)
EVIDENCE = (
    "It is not settled whether regular skin checks save lives, even when doctors do them "
    "([US Preventive Services Task Force 2023](https://doi.org/10.1001/jama.2023.4342)). They are advised because "
    "melanomas found early are nearly always cured."
)
