"""Entry point of the app: page configuration and navigation, nothing else."""

from skinapp.ui import layout

layout.configure()
layout.navigation().run()
