from small_runs import answering_backbone, backbone, captioning_backbone, corpus, fresh_accelerate  # noqa: F401
